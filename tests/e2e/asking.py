"""A gateway (asyncssh) with keyboard-interactive login. Prints its prompts and the client's answers.

usage: asking.py PORT HOSTKEY AUTHORIZED_KEYS WHAT
WHAT says what the gateway prompts for. one: the password; two: the password and a code in one request; shown: the password with echo;
again: the password, then a code; endless: requests without a prompt, one after the other; nothing-then-one: a request without a prompt,
then the password; wrong: the password, but the gateway accepts another password."""
import asyncio
import sys

import asyncssh

port, host_key, authorized, what = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
PASSWORD = 's3cret-word' if what != 'wrong' else 'another'
ONE = [('Password: ', False)]


def question(*prompts):
    print('asked', len(prompts), flush=True)
    return '', '', '', list(prompts)


class Server(asyncssh.SSHServer):
    rounds = 0

    def begin_auth(self, username):
        return True

    def public_key_auth_supported(self):
        return False

    def password_auth_supported(self):
        return False

    def kbdint_auth_supported(self):
        return True

    def get_kbdint_challenge(self, username, lang, submethods):
        if what == 'shown':
            return question(('Password: ', True))
        if what == 'two':
            return question(('Password: ', False), ('Code: ', False))
        if what in ('nothing-then-one', 'endless'):
            return question()
        return question(*ONE)

    def validate_kbdint_response(self, username, responses):
        self.rounds += 1
        print('answers:', ' '.join(responses) or '-', flush=True)
        if what == 'endless':
            return question()
        if what == 'nothing-then-one' and self.rounds == 1:
            return question(*ONE)
        if what == 'again':
            return question(('Code: ', False))
        return responses == [PASSWORD]

    def server_requested(self, listen_host, listen_port):
        return asyncssh.SSHListener()


async def main():
    await asyncssh.create_server(Server, '127.0.0.1', port, server_host_keys=[host_key])
    print('ready', flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
