"""The host: it polls bots, runs agents and sends their answers."""
