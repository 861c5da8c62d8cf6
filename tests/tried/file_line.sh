packages=openssh-server
prepare() {
    mkdir -p run/sshd
    printf 'server old.example.com\nserver new.example.com\n' >etc/ntp.conf
}
drift() {
    sed -i 's/^PermitRootLogin.*/PermitRootLogin yes/' etc/ssh/sshd_config
    echo 'server old.example.com iburst' >>etc/ntp.conf
}
