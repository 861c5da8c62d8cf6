prepare() {
    mkdir -p etc usr/share/zoneinfo/Etc
    touch usr/share/zoneinfo/Etc/UTC
}
drift() { ln -sf ../usr/share/zoneinfo/Europe/Vienna etc/localtime; }
