// The number of an option differs between versions of mimalloc, and the Rust bindings do not name this one. The header does.

#include <mimalloc.h>

void ferromqtt_set_purge_delay(long milliseconds) {
  mi_option_set(mi_option_purge_delay, milliseconds);
}

long ferromqtt_purge_delay(void) {
  return mi_option_get(mi_option_purge_delay);
}
