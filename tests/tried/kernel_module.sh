# A list of modules in the place of the kernel's, and a `modprobe` that writes to it.
prepare() {
    echo 'firewire_core 1 0 - Live 0x0' | stand_in modules
    cat >usr/local/sbin/modprobe <<'END'
#!/bin/sh
if [ "$1" = --remove ]; then
    left=$(grep -v "^$2 " /proc/modules)
    echo "$left" >/proc/modules
else
    echo "$1 1 0 - Live 0x0" >>/proc/modules
fi
END
    chmod 0755 usr/local/sbin/modprobe
}
cleanup() { stand_out modules; }
drift() { echo 'firewire_core 1 0 - Live 0x0' >proc/modules; }
