"""Which name does a tool ask a container engine for, and does the engine find the image?"""
