"""The collections that the service has open, and the queues that write to them."""
