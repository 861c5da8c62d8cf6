# Processes that outlive this script, as others would find them.
telnetd() {
    cp bin/sleep usr/local/bin/in.telnetd
    in.telnetd 1000 </dev/null >/dev/null 2>&1 &
}
prepare() {
    mkdir -p etc/myapp
    cat >usr/local/bin/myapp <<'END'
#!/bin/sh
trap 'echo reread >>/srv/myapp.log' HUP
touch /srv/myapp.runs
while :; do sleep 1; done
END
    chmod 0755 usr/local/bin/myapp
    myapp </dev/null >/dev/null 2>&1 &
    until [ -e srv/myapp.runs ]; do :; done
    telnetd
}
drift() {
    telnetd
    echo two >etc/myapp/list
}
