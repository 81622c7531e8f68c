"""Helpers of the Python tests: brokers, a cutting proxy, a scripted server, a flood."""
