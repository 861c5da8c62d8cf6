# A network of its own, with settings of its own.
alone=yes
prepare() { echo 0 >proc/sys/net/ipv4/ip_forward; }
drift() {
    echo 0 >proc/sys/net/ipv4/ip_forward
    echo '30000 40000' >proc/sys/net/ipv4/ip_local_port_range
}
