packages=nginx-light
prepare() { :; }
drift() {
    echo '# changed' >>etc/systemd/system/backup.service
    systemctl disable --now backup.timer
    printf '[Service]\n' >etc/systemd/system/nginx.service.d/limits.conf
}
