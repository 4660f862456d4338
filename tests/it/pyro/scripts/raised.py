# What a call answers, or raises as a text.
def raised(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__ + ": " + str(error)
