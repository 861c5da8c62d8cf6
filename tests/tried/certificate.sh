packages='nginx-light openssl'
prepare() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=Internal CA' \
        -keyout etc/ssl/private/internal-ca.key -out etc/ssl/internal-ca.pem
    systemctl start nginx
}
drift() { echo broken >etc/ssl/web.pem; }
