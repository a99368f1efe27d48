"""MQTT 3.1.1 and 5 without a socket: packets, topics, a server's conversation as a state machine; and a small client."""
