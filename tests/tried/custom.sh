packages=python3-minimal
prepare() {
    mkdir -p usr/local/lib/vigo
}
drift() {
    echo '# changed' >>usr/local/lib/vigo/motd
    echo Goodbye >etc/motd
}
