"""What knows no mesh: clocks, backoff, atomic files, netlink."""
