"""MQTT 3.1.1 and 5, the server's side: packets, one conversation as a state machine, and the sockets below it."""
