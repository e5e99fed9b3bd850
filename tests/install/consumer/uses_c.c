// SPDX-License-Identifier: Apache-2.0
// Uses the shared library from C, with nothing but its header: what it says of itself, and of a
// box that is not there.
#include <godbox/godbox.h>

#include <stdio.h>
#include <string.h>

int main(void) {
  godbox_options options = GODBOX_INIT(godbox_options);
  godbox_pool* pool = NULL;
  options.tenant = "consumer";
  const godbox_status status = godbox_connect("unix:/nowhere/godbox.sock", &options, &pool);
  if (status != GODBOX_CONNECT_FAILED || pool != NULL ||
      strcmp(godbox_status_name(status), "connect_failed") != 0 ||
      strstr(godbox_last_error(), "/nowhere/godbox.sock") == NULL) {
    printf("consumer: %d, %s\n", (int)status, godbox_last_error());
    return 1;
  }
  options.size = 1;
  if (godbox_connect("unix:", &options, &pool) != GODBOX_INVALID_ARGUMENT) {
    puts("consumer: a struct of one byte was accepted");
    return 1;
  }
  if (strlen(godbox_version()) < 5) {
    puts("consumer: no version");
    return 1;
  }
  puts("consumer: ok");
  return 0;
}
