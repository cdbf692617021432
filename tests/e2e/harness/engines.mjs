// Tabs of three engines under one interface: Chromium by the DevTools protocol, Firefox by WebDriver BiDi, WebKitGTK by WebDriver.
// Pages are as a person has them: hidden behind other tabs, throttled, kept for "back".
//
//   const browser = await launch(engine)    'chromium', 'firefox' or 'webkit' (see `engines`), with a profile of its own
//   const tab = await browser.open(url)     a new tab in front of the others; all tabs of a browser share its profile
//   await browser.kill()                    SIGKILL of the whole browser; its tabs are gone
//   await browser.start()                   starts it again over the profile as it was left (see below for WebKit)
//   browser.suspend(); browser.resume()     SIGSTOP and SIGCONT of the whole browser, as a laptop that sleeps
//   await browser.stop()                    kills it and removes its profile
//
//   await tab.evaluate(fn, ...args)         calls the function in the page; what it gives or promises, by way of JSON. What it throws
//   await tab.evaluate('text')              is thrown, with its `name` and `code`. Or the value of an expression
//   await tab.navigate(url)                 until the page is loaded. The page before it may be kept for "back"
//   await tab.back()                        until the page before is there, kept (`pageshow` with `persisted`) or loaded anew
//   await tab.reload()
//   await tab.show()                        in front of the others, which are hidden then
//   await tab.freeze(); await tab.thaw()    the page runs nothing in between
//   await tab.crash()                       its process is killed, and hears nothing before; `open` makes another tab
//   await tab.close()                       as a person closes it: `pagehide` is heard
//
// What evaluates in a tab that is closed, crashes or navigates fails; in one that is frozen it ends after `thaw`. Begin nothing in a
// frozen one.
//
// What differs:
// - freeze is the page's own freezing in Chromium: it hears `visibilitychange` and `freeze` first, later `resume`, and is hidden until
//   `show`. In the others it is SIGSTOP of the content process: nothing is heard, and the tab stays visible. Each tab has a content
//   process of its own, also where several are of one origin.
// - WebKitGTK: a tab is a window, and all are visible until one is shown, which takes a second for each that is hidden; one that is
//   frozen is not hidden then. Under WebDriver its storage is in memory: it outlives tabs, and not `browser.kill`. A crash closes the
//   window of a stopped process and kills it then, because the driver's session would end with a page that crashes by itself.
import { Chromium } from './engines/chromium.mjs';
import { Firefox } from './engines/firefox.mjs';
import { WebKit } from './engines/webkit.mjs';

const kinds = { chromium: Chromium, firefox: Firefox, webkit: WebKit };

export const engines = Object.keys(kinds);

export async function launch(engine) {
  const browser = new kinds[engine]();
  await browser.start();
  return browser;
}
