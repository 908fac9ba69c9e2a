#!/bin/bash
# Ready: this pet has joined the ring and takes CQL. The port opens only then, and needs no Java to be asked.
exec timeout 3 bash -c ": < /dev/tcp/${POD_IP:-localhost}/9042"
