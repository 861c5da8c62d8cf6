prepare() {
    mkdir -p etc/nginx/conf.d
    echo 'server { listen 8080; }' >etc/nginx/conf.d/site.conf
}
drift() {
    echo 'server { }' >etc/nginx/conf.d/site.conf
    chmod 0600 etc/nginx/conf.d/site.conf
}
