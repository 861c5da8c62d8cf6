packages=sudo
prepare() { rm -f etc/sudoers.d/deploy; }
drift() { echo 'eve ALL=(ALL) ALL' >etc/sudoers.d/deploy; }
