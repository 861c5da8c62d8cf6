# A network of its own: the command sets what the kernel keeps for each.
alone=yes
packages='openssh-client procps'
prepare() {
    rm -f etc/ssh/ssh_host_*
}
drift() {
    rm etc/ssh/ssh_host_ed25519_key
    echo '# changed' >>etc/sysctl.d/90-router.conf
}
