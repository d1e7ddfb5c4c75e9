#!/bin/sh
# The root of the container image, made of what this machine has. All that is in the image stands
# here: the Dockerfile and the tests both call it.
#
#   deploy/image-root.sh BINARY DIRECTORY
set -eu
binary=$1 root=$2

# One file, under the same name, whatever links stand for it here.
copy() {
    mkdir -p "$root${1%/*}"
    cp -L "$1" "$root$1"
}

mkdir -p "$root/usr/bin" "$root/etc/holdfast" "$root/usr/lib/ssl"
strip -o "$root/usr/bin/holdfast" "$binary"

# The libraries and the loader, and under which licences they are passed on.
libraries=$(ldd "$binary" | sed -n 's,.*[[:space:]]\(/[^ ]*\) (.*,\1,p')
for library in $libraries; do
    copy "$library"
done
# dpkg knows some of them below /usr, some not, whatever the links say.
names=$(for library in $libraries; do readlink -f "$library" | sed 'p;s,^/usr,,'; done)
dpkg-query -S $names 2>/dev/null | sed 's/:.*//' | sort -u | while read -r package; do
    copy "/usr/share/doc/$package/copyright"
done

# Whom TLS trusts, where OpenSSL looks for it.
copy /etc/ssl/certs/ca-certificates.crt
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"

# A user without rights, and names that are looked for in /etc/hosts first.
echo 'holdfast:x:65532:65532::/:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'holdfast:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
