prepare() {
    userdel -r deploy || true
    groupdel deploy || true
    useradd -m guest
}
drift() {
    usermod --password x --shell /bin/sh deploy
    usermod --home /tmp metrics
    useradd -m guest
}
