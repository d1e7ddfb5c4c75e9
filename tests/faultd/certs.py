"""Certificates made at run time with the openssl command: nothing secret lies in the repository."""
import os
import subprocess
import tempfile

NAMES = "DNS:localhost,IP:127.0.0.1,DNS:*.holdfast.test"


class Certs:
    """A directory with ca.pem and, for each kind, KIND.pem holding the key, the leaf and its chain.

    good         localhost, 127.0.0.1, *.holdfast.test; signed by ca.pem
    expired      the same names, valid for one day of 2020
    wrong_host   signed by ca.pem for another name
    self_signed  its own issuer
    unknown_ca   good names, signed by an authority nobody trusts
    """

    def __init__(self, directory=None):
        self.dir = directory or tempfile.mkdtemp(prefix="faultd-certs-")
        self.ca = self.path("ca")
        self._authority("ca", "faultd test authority")
        self._authority("rogue", "faultd rogue authority")
        self._leaf("good", "ca", NAMES)
        self._leaf("expired", "ca", NAMES, "20200101000000Z", "20200102000000Z")
        self._leaf("wrong_host", "ca", "DNS:elsewhere.invalid")
        self._leaf("unknown_ca", "rogue", NAMES)
        self._self_signed("self_signed")

    def path(self, kind):
        return os.path.join(self.dir, kind + ".pem")

    def _openssl(self, *args, stdin=None):
        done = subprocess.run(["openssl", *args], cwd=self.dir, input=stdin, text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr}")

    def _key(self, name):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name + ".key")

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="ascii") as f:
            f.write(text)

    def _bundle(self, name, *parts):
        with open(self.path(name), "w", encoding="ascii") as out:
            for part in parts:
                with open(os.path.join(self.dir, part), encoding="ascii") as f:
                    out.write(f.read())

    def _authority(self, name, common_name):
        self._key(name)
        self._openssl("req", "-x509", "-new", "-key", name + ".key", "-days", "2", "-out",
                      name + ".pem", "-subj", "/CN=" + common_name, "-addext",
                      "keyUsage=critical,keyCertSign,cRLSign")

    def _self_signed(self, name):
        self._key(name)
        self._openssl("req", "-x509", "-new", "-key", name + ".key", "-days", "2", "-out",
                      name + ".crt", "-subj", "/CN=localhost", "-addext",
                      "subjectAltName=" + NAMES)
        self._bundle(name, name + ".key", name + ".crt")

    def _leaf(self, name, issuer, names, start=None, end=None):
        """By `openssl ca`, the one subcommand of every OpenSSL 3 that can date a leaf in the past."""
        self._key(name)
        self._write(name + ".index", "")
        self._write(name + ".serial", "%02x\n" % (sum(name.encode()) % 100 + 128))
        self._write(name + ".cnf", f"""[ca]
default_ca = it
[it]
database = {name}.index
serial = {name}.serial
new_certs_dir = .
default_md = sha256
policy = any
default_days = 2
x509_extensions = leaf
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
subjectAltName = {names}
""")
        self._openssl("req", "-new", "-key", name + ".key", "-out", name + ".csr", "-subj",
                      "/CN=" + name)
        dates = ["-startdate", start, "-enddate", end] if start else []
        self._openssl("ca", "-batch", "-notext", "-config", name + ".cnf", "-in", name + ".csr",
                      "-cert", issuer + ".pem", "-keyfile", issuer + ".key", "-out",
                      name + ".crt", *dates)
        self._bundle(name, name + ".key", name + ".crt", issuer + ".pem")
