packages=telnetd
prepare() { apt-get -qq -y remove jq || true; }
drift() {
    apt-get -qq -y remove jq
    apt-mark -qq unhold nginx
    apt-get -qq -y install telnetd
}
