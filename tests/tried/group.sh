prepare() {
    userdel -r deploy || true
    groupdel deploy || true
    groupdel admins || true
}
drift() {
    groupmod -g 1600 deploy
    gpasswd -d root admins
}
