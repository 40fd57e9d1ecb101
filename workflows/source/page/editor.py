"""ComfyUI's graph editor in a real browser: load a graph, read what the page makes of it, queue it, see it.

The page's own internals are read here and nowhere else; they belong to the frontend that the environment pins.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import sync_playwright

READY = "() => window.app?.graph !== undefined && window.app.extensionManager?.spinner === false"
PINIA = "document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia"
STORES = f"{PINIA}.state.value"
CLASSIC_ONLY = """() => {
    const draw = CanvasRenderingContext2D.prototype.fillText;
    window.drawnTexts = new Set();
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        window.drawnTexts.add(text);
        return draw.call(this, text, ...rest);
    };
}"""
IN_TIME = """argument => Promise.race([(%s)(argument),
    new Promise((_, fail) => setTimeout(() => fail(new Error('The page gave no answer.')), %d))])"""
UNTIL = """async argument => {
    for (;;) {
        const value = await (%s)(argument);
        if (value) return value;
        await new Promise(done => setTimeout(done, 100));
    }
}"""
BOXES = """() => {
    const { scale, offset } = app.canvas.ds, page = app.canvas.canvas.getBoundingClientRect();
    const found = {};
    for (const node of app.graph.nodes) {
        const element = LiteGraph.vueNodesMode && document.querySelector(`[data-node-id="${node.id}"]`);
        if (!element) { found[node.id] = [...node.boundingRect]; continue; }
        const box = element.getBoundingClientRect();
        found[node.id] = [(box.x - page.x) / scale - offset[0], (box.y - page.y) / scale - offset[1],
                          box.width / scale, box.height / scale];
    }
    return found;
}"""
SIZE = {"width": 2560, "height": 1360}  # so that all of a graph is drawn with its words


class Editor:
    """The page of one server, as a context manager.

    Playwright's calls all happen in one thread of their own, so that the caller may run event loops besides.

    Attributes:
        errors: what the console and uncaught errors said since `forget`.
        outside: addresses outside the server that the page asked for, in vain.
    """

    def __init__(self, url: str, chromium: str):
        self.url, self.chromium = url, chromium
        self.errors, self.outside = [], []
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self):
        self._do(self._start)
        return self

    def __exit__(self, *exception):
        self._do(self._stop)
        self._thread.shutdown()

    def _do(self, work, *arguments):
        return self._thread.submit(work, *arguments).result()

    def _start(self) -> None:
        self._playwright = sync_playwright().start()
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        # No name is resolved: the server's address is all that can be reached.
        arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"]
        arguments += ["--no-sandbox"] if root else []
        try:
            self._browser = self._playwright.chromium.launch(executable_path=self.chromium, args=arguments)
            self._page = self._browser.new_page(viewport=SIZE)
            self._page.set_default_timeout(120_000)
            self._page.on("request", self._asked)
            self._page.on("pageerror", lambda error: self.errors.append(str(error)))
            self._page.on("console", self._said)
            self._page.on("filechooser", lambda chooser: None)  # so that no dialog of the system opens
            self._page.add_init_script(f"({CLASSIC_ONLY})()")
            self._page.goto(self.url)
            self._page.wait_for_function(READY)
        except BaseException:
            self._playwright.stop()
            raise

    def _stop(self) -> None:
        self._browser.close()
        self._playwright.stop()

    def _asked(self, request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.outside.append(request.url)

    def _said(self, message) -> None:
        # A request that was cut off is counted as such, not as a fault of the page.
        if message.type == "error" and message.location.get("url", "") not in self.outside:
            self.errors.append(message.text)

    def evaluate(self, script: str, argument=None, seconds: float = 120):
        """The value of a JavaScript function in the page, asynchronous or not; `argument` and value are JSON."""
        return self._do(lambda: self._page.evaluate(IN_TIME % (script, seconds * 1000), argument))

    def wait(self, script: str, argument=None, seconds: float = 120):
        """Wait until a JavaScript function gives something true, and return that."""
        return self.evaluate(UNTIL % script, argument, seconds)

    def click(self, selector: str) -> None:
        """Click on the first element that a selector finds."""
        self._do(lambda: self._page.locator(selector).first.click())

    def drag(self, path: list, steps: int = 8) -> None:
        """Press the mouse at the first of some points (x, y) of the page, move it through the others, and let it go."""

        def work() -> None:
            mouse = self._page.mouse
            mouse.move(*path[0])
            mouse.down()
            for point in path[1:]:
                mouse.move(*point, steps=steps)
            mouse.up()

        self._do(work)

    def press(self, keys: str) -> None:
        """Press a key, or several at once such as Control+z."""
        self._do(lambda: self._page.keyboard.press(keys))

    def undo(self, key: str, script: str, argument=None) -> None:
        """Hold Control and a key that undoes or redoes until a JavaScript function gives something true.

        The page does it in its own time. When a key is let go before, it takes what it has drawn by then for a change.
        """
        keyboard = self._page.keyboard
        for each in ("Control", key):
            self._do(keyboard.down, each)
        try:
            self.wait(script, argument)
            self.wait("() => !app.extensionManager.workflow.activeWorkflow.changeTracker._restoringState")
            self.settle()
        finally:
            for each in (key, "Control"):
                self._do(keyboard.up, each)

    def type(self, text: str) -> None:
        """Type a text, key by key."""
        self._do(lambda: self._page.keyboard.type(text, delay=30))

    def choose(self, files: list, point: tuple) -> None:
        """Click twice on a point and choose files of this machine in the dialog that opens."""

        def work() -> None:
            with self._page.expect_file_chooser() as chooser:
                self._page.mouse.dblclick(*point)
            chooser.value.set_files(files)

        self._do(work)

    def block(self, pattern: str, blocked: bool) -> None:
        """Keep the page from loading what has such an address, or let it load it again."""
        self._do(lambda: self._page.route(pattern, lambda route: route.abort()) if blocked else self._page.unroute(pattern))

    def visit(self, url: str) -> None:
        """Go to an address of the server and wait until the editor is there."""
        self._do(lambda: (self._page.goto(url), self._page.wait_for_function(READY)))

    def text(self, selector: str) -> list[str]:
        """Texts of all elements that a selector finds."""
        return self._do(lambda: self._page.locator(selector).all_inner_texts())

    def screenshot(self, path: Path) -> None:
        """A picture of the page."""
        self._do(lambda: self._page.screenshot(path=path))

    def setting(self, name: str, value) -> None:
        """Change a setting of ComfyUI."""
        self.evaluate("([name, value]) => app.extensionManager.setting.set(name, value)", [name, value])

    def nodes2(self, on: bool) -> None:
        """Draw nodes by Nodes 2.0, or on the classic canvas."""
        self.setting("Comfy.VueNodes.Enabled", on)
        self.wait("on => Boolean(LiteGraph.vueNodesMode) === on", on)

    def forget(self) -> None:
        """Begin a new record of errors, messages and drawn texts, with no dialog open."""
        self.errors.clear()
        self.evaluate(
            f"""() => {{
                const {{ toast }} = app.extensionManager;
                (toast.removeAll ?? toast.dismissAll).call(toast); // the second since frontend 1.58
                const dialogs = {PINIA}._s.get('dialog');
                for (const {{ key }} of [...(dialogs?.dialogStack ?? [])]) dialogs.closeDialog({{ key }});
                drawnTexts.clear();
            }}"""
        )

    def open(self, workflow: dict, name: str) -> None:
        """Load a saved workflow, as a person does, and wait until it is drawn."""
        self.forget()
        self.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [workflow, name])
        self.evaluate(
            """async () => {
                const tabs = app.extensionManager.workflow;
                for (const tab of [...tabs.openWorkflows]) if (tab.path !== tabs.activeWorkflow.path) await tabs.closeWorkflow(tab);
            }"""
        )
        self.settle()

    def settle(self) -> None:
        """Wait until every node is drawn, clips included, and nothing changes its size any more."""
        self.wait(
            """() => LiteGraph.vueNodesMode || app.graph.nodes.every(
                node => node.type !== 'LoadVideo' || node.widgets.some(widget => widget.name === 'video-preview'))"""
        )
        self.wait("() => !LiteGraph.vueNodesMode || document.querySelectorAll('[data-node-id]').length === app.graph.nodes.length")
        self.evaluate(
            """async () => {
                const shape = () => JSON.stringify([app.graph.nodes.map(node => [...node.boundingRect]), app.canvas.ds.scale]);
                let same = 0;
                for (let last = ''; same < 4; await new Promise(done => setTimeout(done, 60))) {
                    await new Promise(requestAnimationFrame);
                    same = shape() === last ? same + 1 : 0;
                    last = shape();
                }
            }"""
        )

    def saved(self) -> dict:
        """The workflow as the page saves it."""
        return json.loads(self.evaluate("async () => JSON.stringify((await app.graphToPrompt()).workflow)"))

    def prompt(self) -> dict:
        """The graph in API format, by the page's own conversion."""
        return json.loads(self.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    def boxes(self) -> dict:
        """Where each node is in graph coordinates, title included: {id: [x, y, width, height]}."""
        return {int(key): value for key, value in self.evaluate(BOXES).items()}

    def groups(self) -> dict:
        """Where each group is: {title: [x, y, width, height]}."""
        return dict(self.evaluate("() => app.graph.groups.map(group => [group.title, [...group.boundingRect]])"))

    def missing_nodes(self) -> list:
        """Types that the page does not know."""
        return self.evaluate(f"() => JSON.parse(JSON.stringify({STORES}.missingNodesError?.missingNodesError?.nodeTypes ?? []))")

    def missing_models(self) -> list[dict]:
        """Model files that the page offers to download: name, url, directory, nodeId."""
        return self.evaluate(f"() => JSON.parse(JSON.stringify({STORES}.missingModel?.missingModelCandidates ?? []))")

    def messages(self) -> list[str]:
        """What the page says in messages that pop up."""
        return self.text(".p-toast-message")

    def not_for_the_classic_canvas(self) -> list[str]:
        """Widgets that the classic canvas drew as a line of text instead."""
        return self.evaluate("() => [...drawnTexts].filter(text => /node 2\\.0 only/i.test(text))")

    def queue(self) -> str:
        """Press the Run button; the prompt id that the server answers.

        Raises:
            RuntimeError: the server refused the graph or a part of it.
        """

        def queued(answer) -> bool:
            return answer.request.method == "POST" and answer.url.endswith("/api/prompt")

        def press() -> dict:
            with self._page.expect_response(queued) as answer:
                self._page.locator("[data-testid='queue-button']").first.click()
            return answer.value.json()

        answer = self._do(press)
        if answer.get("error") or answer.get("node_errors"):
            raise RuntimeError(f"The server refused the graph: {answer}")
        return answer["prompt_id"]

    def finished(self, prompt_id: str, seconds: float = 300) -> dict:
        """Wait until a prompt has run; its outputs by node id.

        Raises:
            RuntimeError: it failed.
        """
        entry = self.wait("async id => (await (await fetch('/history/' + id)).json())[id]", prompt_id, seconds)
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(f"The run failed: {entry['status']['messages']}")
        return entry["outputs"]
