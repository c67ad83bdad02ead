"""What a person does on Witgate's own pages, without a browser: forms, cookies and redirects."""

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from html import unescape


class Away(Exception):
    """The redirect that leads to the client."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within one site, and stops at one that leads away."""

    def __init__(self, site):
        self.site = site

    def redirect_request(self, request, body, code, message, headers, url):
        if not url.startswith(self.site):
            raise Away(url)
        return super().redirect_request(request, body, code, message, headers, url)


def log_in(url, name, password):
    """Logs in at `url` and allows everything; returns the address to which the answer leads, and the titles."""
    site = "{0.scheme}://{0.netloc}/".format(urllib.parse.urlsplit(url))
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(cookies, Redirects(site))
    titles = []
    try:
        page = browser.open(url).read().decode()
        while len(titles) < 4:
            titles.append(re.search("<title>(.*?)</title>", page)[1])
            action = re.search('<form method="post" action="(.*?)"', page)[1]
            hidden = re.findall('<input type="hidden" name="(.*?)" value="(.*?)">', page)
            fields = {field: unescape(value) for field, value in hidden}
            fields |= {"decision": "allow"} if "allow" in page else {"name": name, "password": password}
            body = urllib.parse.urlencode(fields).encode()
            page = browser.open(urllib.parse.urljoin(site, action), body).read().decode()
    except Away as away:
        return str(away), titles
    raise RuntimeError(f"the login does not end: {titles}")
