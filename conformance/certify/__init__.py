"""The certificate of the virtual sockets: random operations, carried out by them and by libzmq, must look alike."""
