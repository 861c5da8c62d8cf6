packages=nginx-light
prepare() { systemctl disable --now nginx; }
drift() {
    echo '# changed' >>etc/nginx/conf.d/site.conf
    systemctl disable --now nginx
}
