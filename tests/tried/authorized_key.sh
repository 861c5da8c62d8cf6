prepare() {
    mkdir etc root
    echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
}
drift() { echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOfSomebodyElseAltogetherAndNotDeclaredAnywhere eve' >root/.ssh/authorized_keys; }
