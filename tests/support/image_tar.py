"""Images as tars, made by hand: docker-archives and OCI image layouts, sound and hostile."""
import gzip, hashlib, io, json, subprocess, tarfile


def entry(name, data=b"", mode=0o644, type=tarfile.REGTYPE, uid=0, gid=0, link="", pax=None):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.uid, t.gid, t.linkname, t.pax_headers = type, mode, uid, gid, link, pax or {}
    t.size = len(data)
    return t, data


def folder(name, mode=0o755, **more):
    return entry(name, mode=mode, type=tarfile.DIRTYPE, **more)


def symlink(name, target):
    return entry(name, type=tarfile.SYMTYPE, link=target, mode=0o777)


def hardlink(name, target):
    return entry(name, type=tarfile.LNKTYPE, link=target)


def device(name):
    t, data = entry(name, type=tarfile.CHRTYPE, mode=0o666)
    t.devmajor, t.devminor = 1, 3
    return t, data


def layer(*entries, format=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for t, data in entries:
            tar.addfile(t, io.BytesIO(data))
    return out.getvalue()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def write(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            tar.addfile(*(lambda t, d: (t, io.BytesIO(d)))(*entry(name, data)))
    return path


def config_of(layers):
    return json.dumps({"architecture": "amd64", "os": "linux",
                       "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(l) for l in layers]}}).encode()


def docker(path, *layers):
    """As docker save has written it for years."""
    config = config_of(layers)
    names = [f"{i}/layer.tar" for i in range(len(layers))]
    manifest = [{"Config": digest(config) + ".json", "RepoTags": ["test:latest"], "Layers": names}]
    return write(path, list(zip(names, layers)) +
                 [(digest(config) + ".json", config), ("manifest.json", json.dumps(manifest).encode())])


def compress(data, how):
    if how == "gzip":
        return gzip.compress(data)
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def oci(path, *layers, how=("", "gzip", "zstd"), spoil=lambda files: files):
    """An OCI image layout; each layer compressed another way."""
    files, descriptors = [], []

    def blob(data):
        files.append(("blobs/sha256/" + digest(data), data))
        return {"digest": "sha256:" + digest(data), "size": len(data)}

    for i, l in enumerate(layers):
        kind = how[i % len(how)]
        media = "application/vnd.oci.image.layer.v1.tar" + ("+" + kind if kind else "")
        descriptors.append({"mediaType": media, **blob(compress(l, kind))})
    manifest = json.dumps({"schemaVersion": 2, "config": blob(config_of(layers)), "layers": descriptors}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [blob(manifest)]}).encode()
    return write(path, spoil([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)] + files))
