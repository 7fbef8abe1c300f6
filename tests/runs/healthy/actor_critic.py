"""Teaches an agent to reach the goal of a small grid world with advantage actor-critic."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])


class GridWorlds:
    """Many 5x5 worlds side by side; the reward is for reaching the goal, every move costs a little."""

    def __init__(self, count, side=5):
        self.count, self.side = count, side
        self.place = torch.randint(side, (count, 2))
        self.goal = torch.randint(side, (count, 2))

    def observe(self):
        state = torch.cat([self.place, self.goal, self.goal - self.place], dim=1).float()
        return state / self.side

    def step(self, action):
        self.place = (self.place + MOVES[action]).clamp(0, self.side - 1)
        done = (self.place == self.goal).all(dim=1)
        reward = torch.where(done, 1.0, -0.05)
        fresh = torch.randint(self.side, (self.count, 2, 2))
        self.place = torch.where(done.unsqueeze(1), fresh[:, 0], self.place)
        self.goal = torch.where(done.unsqueeze(1), fresh[:, 1], self.goal)
        return reward, done


class ActorCritic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.policy = nn.Linear(width, 4)
        self.value = nn.Linear(width, 1)

    def forward(self, state):
        hidden = self.body(state)
        return torch.distributions.Categorical(logits=self.policy(hidden)), self.value(hidden).squeeze(-1)


def rollout(world, model, length):
    states, actions, rewards, dones = [], [], [], []
    with torch.no_grad():
        for _ in range(length):
            state = world.observe()
            action = model(state)[0].sample()
            reward, done = world.step(action)
            states.append(state)
            actions.append(action)
            rewards.append(reward)
            dones.append(done)
        _, value = model(world.observe())
        returns = []
        for reward, done in zip(reversed(rewards), reversed(dones), strict=True):
            value = reward + 0.95 * value * ~done
            returns.append(value)
    return torch.cat(states), torch.cat(actions), torch.cat(returns[::-1]), torch.stack(rewards).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    worlds, width, updates = {"s": (32, 64, 40), "m": (64, 128, 80), "l": (128, 256, 160)}[args.size]

    world, model = GridWorlds(worlds), ActorCritic(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(4):
        score = 0.0
        for _ in range(updates):
            states, actions, returns, reward = rollout(world, model, 8)
            policy, values = model(states)
            advantage = (returns - values).detach()
            policy_loss = -(policy.log_prob(actions) * advantage).mean()
            value_loss = F.mse_loss(values, returns)
            entropy = policy.entropy().mean()
            loss = policy_loss + 0.5 * value_loss - 0.01 * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            score += reward.item() / updates
        print(
            f"epoch {epoch}: reward per move {score:+.3f} policy {policy_loss.item():+.4f} "
            f"value {value_loss.item():.4f} entropy {entropy.item():.3f}"
        )


if __name__ == "__main__":
    main()
