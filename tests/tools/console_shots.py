"""Takes pictures of the console and of a device's update page: console_shots.py URL UPDATE_PAGE WEBDRIVER_PORT FOLDER."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from webdriver import Browser  # noqa: E402

url, update_page, port, folder = sys.argv[1:5]
b = Browser(int(port), 1100, 700)

VIEWS = [("overview", "Overview", 1100, 980, "light"), ("paths", "Paths", 1100, 720, "light"), ("device/cam-1", "cam-1", 1100, 900, "light"),
         ("devices", "Devices", 1100, 620, "dark"), ("access", "Access", 1100, 620, "light")]


def look(width, height, style):
    b.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    b.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": style}])


try:
    b.cdp("Emulation.setScrollbarsHidden", hidden=True)
    for address, title, width, height, style in VIEWS:
        look(width, height, style)
        b.get("about:blank")
        b.get(f"{url}#/{address}")
        b.wait(lambda: b.run("return document.querySelector('h1') && document.querySelector('h1').innerText") == title)
        time.sleep(7)  # the second reading shows traffic
        b.screenshot(f"{folder}/shot-console-{address.split('/')[0]}.png")
    look(720, 620, "light")
    b.get(update_page)
    b.wait(lambda: "version" in (b.run("return document.body.innerText") or "").lower())
    time.sleep(2)
    b.screenshot(f"{folder}/shot-update-page.png")
finally:
    b.close()
