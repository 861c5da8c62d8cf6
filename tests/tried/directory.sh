prepare() {
    mkdir -p srv etc/myapp/conf.d
    echo 'www-data:x:33:33::/var/www:/usr/sbin/nologin' >etc/passwd
    echo 'www-data:x:33:' >etc/group
    touch etc/myapp/conf.d/old
}
drift() {
    chmod 0777 srv/uploads
    touch etc/myapp/conf.d/stray
}
