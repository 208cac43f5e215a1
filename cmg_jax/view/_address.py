"""The address that the page listens at."""

import ipaddress
import socket

from cmg_jax._errors import InputError


def free_port(host: str, port: int) -> tuple[int, bool]:
    """`port`, or a free one for 0; and whether only this machine reaches it.

    Raises:
      InputError: the port is taken, or `host` is not an address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            free = probe.getsockname()[1]
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; choose another --port or --host"
        ) from None
    return free, ipaddress.ip_address(address[0]).is_loopback


def url_host(host: str) -> str:
    """`host` in the form for the URL of a browser on this machine."""
    return "localhost" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
