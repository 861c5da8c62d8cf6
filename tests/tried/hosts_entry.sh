prepare() {
    mkdir etc
    echo '127.0.0.1 localhost' >etc/hosts
}
drift() { sed -i 's/^10.0.0.20/10.0.0.21/' etc/hosts; }
