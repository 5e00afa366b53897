"""A laptop with a current Docker, made of package registries: `./lab test --laptop`."""
