"""HTTP for people and programs (devices that speak HTTP come in through listeners/)."""
