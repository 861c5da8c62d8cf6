# packages.example.com is the root itself, with a certificate that its own CA has issued; the network is its own, too. Nobody has
# the secret half of the key in the example, so the fingerprint is that of a key which is made here.
alone=yes
packages='gpg gpg-agent openssl ca-certificates python3 iproute2'
map() { sed "s/fingerprints: .*/fingerprints: [$(cat srv/fingerprint)]/"; }
old() {
    printf 'Types: deb\nURIs: https://packages.example.com/old\nSuites: bookworm\nComponents: main\n' >etc/apt/sources.list.d/old.sources
}
prepare() {
    ip link set lo up
    echo '127.0.0.1 packages.example.com' >>etc/hosts
    old
    gpg --batch --quiet --passphrase '' --quick-generate-key 'Vendor <vendor@example.com>' ed25519 default never
    gpg --quiet --with-colons --list-keys | awk -F: '/^fpr/ { print $10; exit }' >srv/fingerprint
    gpg --armor --export >usr/share/keyrings/vendor.asc

    dist=srv/site/debian/dists/bookworm
    index=main/binary-$(dpkg --print-architecture)/Packages
    mkdir -p "$(dirname "$dist/$index")"
    : >"$dist/$index"
    printf 'Suite: bookworm\nCodename: bookworm\nComponents: main\nArchitectures: %s\nSHA256:\n %s 0 %s\n' \
        "$(dpkg --print-architecture)" "$(sha256sum <"$dist/$index" | cut -d' ' -f1)" "$index" >"$dist/Release"
    gpg --batch --quiet --clearsign --output "$dist/InRelease" "$dist/Release"

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=Vendor \
        -keyout srv/ca.key -out usr/local/share/ca-certificates/vendor.crt
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=packages.example.com -keyout srv/site.key |
        openssl x509 -req -days 30 -CA usr/local/share/ca-certificates/vendor.crt -CAkey srv/ca.key -CAcreateserial \
            -extfile /dev/fd/3 -out srv/site.pem 3<<'END'
subjectAltName = DNS:packages.example.com
END
    update-ca-certificates
    python3 -c '
import functools, http.server, ssl
files = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/srv/site")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), files)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/site.pem", "/srv/site.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
open("/srv/serves", "w").close()
server.serve_forever()' </dev/null >/dev/null 2>&1 &
    until [ -e srv/serves ]; do kill -0 $!; done
}
drift() {
    sed -i 's/bookworm/trixie/' etc/apt/sources.list.d/vendor.sources
    old
}
