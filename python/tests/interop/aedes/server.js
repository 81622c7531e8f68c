// An aedes broker on loopback: `node server.js USERNAME PASSWORD` prints its ports once it is ready.
'use strict'

const http = require('http')
const net = require('net')
const { Aedes } = require('aedes')
const { WebSocketServer, createWebSocketStream } = require('ws')

const HOST = '127.0.0.1'

// Only this user is let in where a login is asked for.
function authenticate (client, username, password, done) {
  done(null, username === process.argv[2] && String(password) === process.argv[3])
}

function listen (server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, HOST, () => resolve(server.address().port))
  })
}

async function main () {
  const open = await Aedes.createBroker()
  const closed = await Aedes.createBroker({ authenticate })
  const web = http.createServer()
  new WebSocketServer({ server: web }).on('connection', (socket, request) => {
    open.handle(createWebSocketStream(socket), request)
  })
  open.on('clientError', (client, error) => console.error(`client error: ${error.message}`))
  open.on('connectionError', (client, error) => console.error(`connection error: ${error.message}`))

  const port = await listen(net.createServer(open.handle))
  const login = await listen(net.createServer(closed.handle))
  const websocket = await listen(web)
  console.log(`ready on ${port}, with login on ${login}, WebSocket on ${websocket}`)
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
