"""What runs a network: primitives on arrays (`ops`), the compiled network (`plan`), and the engines."""
