"""Devices, memory, programs and launches: the only floor that imports pyopencl.

Start at `discovery.devices()`. Importing this package loads no OpenCL library; asking for devices
does.
"""
