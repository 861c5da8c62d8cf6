packages=nginx-light
prepare() {
    systemctl disable --now backup.timer || true
    rm -f etc/systemd/system/backup.*
}
drift() {
    echo '# changed' >>etc/systemd/system/backup.service
    systemctl disable --now backup.timer
    printf '[Service]\n' >etc/systemd/system/nginx.service.d/limits.conf
}
