# A list of what is in use in the place of the kernel's, and a `swapon` and `swapoff` that write to it. The file is a real one.
prepare() {
    echo 'Filename Type Size Used Priority' | stand_in swaps
    cat >usr/local/sbin/swapon <<'END'
#!/bin/sh
for last in "$@"; do :; done
echo "$last file 524284 0 -2" >>/proc/swaps
END
    cat >usr/local/sbin/swapoff <<'END'
#!/bin/sh
for last in "$@"; do :; done
left=$(grep -v "^$last " /proc/swaps)
echo "$left" >/proc/swaps
END
    chmod 0755 usr/local/sbin/swapon usr/local/sbin/swapoff
}
cleanup() { stand_out swaps; }
drift() {
    swapoff /swapfile
    truncate -s 1M swapfile
}
