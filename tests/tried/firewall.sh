# A network of its own, with rules of its own.
alone=yes
packages=nftables
prepare() { :; }
drift() { nft add rule inet vigo input tcp dport 23 accept; }
