#!/usr/bin/env python3
"""Writes an SPDX 2.3 bill of materials beside Debian packages: sbom.py PACKAGE.deb...

It lists each package with its checksum and the packages that it depends on, with the versions that it was built with. Times are
SOURCE_DATE_EPOCH, so that the same build gives the same file.
"""
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys

LICENSE = "BSD-3-Clause-Clear"


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def spdx_id(text):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", text)


def supplier(text):
    match = re.match(r"(.*) <(.*)>", text or "")
    return f"Organization: {match.group(1)} ({match.group(2)})" if match else "NOASSERTION"


def own_package(path):
    fields = {f: run("dpkg-deb", "-f", path, f) for f in ("Package", "Version", "Architecture", "Maintainer", "Depends", "Recommends")}
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
    return fields, {
        "SPDXID": spdx_id(name),
        "name": name,
        "versionInfo": version,
        "packageFileName": os.path.basename(path),
        "supplier": supplier(fields["Maintainer"]),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
        "licenseConcluded": LICENSE,
        "licenseDeclared": LICENSE,
        "copyrightText": "2026 the cmxsafe developers",
        "primaryPackagePurpose": "APPLICATION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": f"pkg:deb/cmxsafe/{name}@{version}?arch={arch}"}],
    }


def library(name, arch):
    version = run("dpkg-query", "-W", "-f", "${Version}", f"{name}:{arch}") or run("dpkg-query", "-W", "-f", "${Version}", name)
    result = {"SPDXID": spdx_id("debian-" + name), "name": name, "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION",
              "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
              "primaryPackagePurpose": "LIBRARY"}
    purl = f"pkg:deb/debian/{name}"
    if version:
        result["versionInfo"] = version
        purl += "@" + version.replace(":", "%3A").replace("+", "%2B")
    result["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": f"{purl}?arch={arch}"}]
    return result


def relations(text):
    """Returns the first alternative of each relation, without its version."""
    return [re.split(r"[\s|(:]", part.strip())[0] for part in text.split(",") if part.strip()]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    packages, libraries, links = [], {}, []
    for path in sorted(sys.argv[1:]):
        fields, package = own_package(path)
        packages.append(package)
        links.append({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": package["SPDXID"]})
        for field, kind in (("Depends", "DEPENDS_ON"), ("Recommends", "HAS_PREREQUISITE")):
            for name in relations(fields[field]):
                if not name.startswith("cmxsafe"):
                    libraries.setdefault(name, library(name, fields["Architecture"]))
                    links.append({"spdxElementId": package["SPDXID"], "relationshipType": kind,
                                  "relatedSpdxElement": libraries[name]["SPDXID"]})
    first = packages[0]
    arch = first["packageFileName"].rsplit("_", 1)[1][:-len(".deb")]
    name = f"cmxsafe_{first['versionInfo']}_{arch}"
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    identity = hashlib.sha256("".join(p["checksums"][0]["checksumValue"] for p in packages).encode()).hexdigest()
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{identity}",
        "creationInfo": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: cmxsafe scripts/sbom.py"]},
        "packages": packages + [libraries[k] for k in sorted(libraries)],
        "relationships": links,
    }
    with open(os.path.join(os.path.dirname(sys.argv[1]), name + ".spdx.json"), "w", encoding="utf-8") as f:
        json.dump(document, f, indent=2)
        f.write("\n")


main()
