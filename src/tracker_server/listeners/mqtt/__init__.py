"""The MQTT endpoint: a client below its socket, and the addresses that we listen on."""
