from raw import Controller, conclude

with Controller() as controller:
    client = controller.client()
    view = client[0]
    view.block = False
    result = view.execute("1")
    try:
        result.get(0.5)
    except TimeoutError as problem:
        print(f"  {problem!r}")
        conclude(controller.engines["0"] not in str(problem), "the error does not say who is silent")
