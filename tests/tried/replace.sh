prepare() {
    mkdir -p etc/app
    printf '[client]\ntimeout = 10\nretries = 3\n' >etc/app/app.conf
}
drift() { sed -i 's/90s/30/' etc/app/app.conf; }
