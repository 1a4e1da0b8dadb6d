"""Between the socket and the routes: protocol, middleware, admission control, security, errors."""
